"""The world behind ports: DynamoDB, S3, SageMaker, Step Functions, EventBridge, DuckDB."""
